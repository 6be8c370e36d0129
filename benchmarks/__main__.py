"""All measurements."""

from benchmarks import codecs, conversation, fan_out, import_time, latency, throughput

if __name__ == "__main__":
    import_time.main()
    throughput.main()
    latency.main()
    codecs.main()
    conversation.main()
    fan_out.main()
