"""Runs all benchmarks."""

from benchmarks import (
    account_limits,
    codecs,
    connections,
    conversation,
    fan_out,
    haip,
    half_open,
    import_time,
    killed_agents,
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
    half_open.main()
    killed_agents.main()
    account_limits.main()
    telemetry.main()
    haip.main()
