"""All measurements."""

from benchmarks import import_time, latency, throughput

if __name__ == "__main__":
    import_time.main()
    throughput.main()
    latency.main()
