"""What a fault of the relay costs the calls that it has: media in every call, a fault, and a verdict.

    faults           what is done to a relay (tools.harness.deployment), and when it was back
    background_load  media both ways meanwhile (tools.rtpload), every packet numbered
    calls            ports, sources and sessions of each call, before and after
    call_setup       calls set up meanwhile, at full speed
    limits           what each fault may cost
    verdict          what it did cost beyond that: streams, packets and times, one by one
    scenario         all of that once
    burst            browsers that come at the same instant, beside plain calls
    host_faults, host_scenario, taps   the same for two hosts, with what each of them sent

tests/survival/measured asks for each promise of docs/reference/reliability.md; tools.soak goes on for hours.
"""
