"""Runs all benchmarks."""

from benchmarks import (
    codecs,
    connections,
    conversation,
    fan_out,
    import_time,
    latency,
    memory,
    reconnects,
    telemetry,
    throughput,
)

if __name__ == "__main__":
    import_time.main()
    throughput.main()
    latency.main()
    codecs.main()
    conversation.main()
    fan_out.main()
    memory.main()
    connections.main()
    reconnects.main()
    telemetry.main()
