"""All measurements."""

from benchmarks import conversation, fan_out, import_time, latency, throughput

if __name__ == "__main__":
    import_time.main()
    throughput.main()
    latency.main()
    conversation.main()
    fan_out.main()
