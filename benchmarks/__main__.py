"""All measurements."""

from benchmarks import conversation, import_time, latency, throughput

if __name__ == "__main__":
    import_time.main()
    throughput.main()
    latency.main()
    conversation.main()
