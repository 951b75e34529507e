"""A load generator for RTP relays: `python -m tools.rtpload`; from programs, `run_load(LoadOptions(...))`.

    options       what a load can be told            controls/     how the relay is told of calls (sdp: for
    ng) plan          what will happen to each call      call_script   what does happen to it
    load          the coordinator                    signalling    threads that send the commands
    crew          workers, seen from outside         worker        one of them, from inside
    media_call    the two phones of a call           phone         their sockets
    mouths        what sends, by pacing's clocks     stream        what became of what was sent
    packet        RTP and RTCP with an identity      histogram     durations by bucket
    record        the same, packet by packet, if asked for
    ledger        counts while it runs               relay_usage   CPU and memory of the relay
    summary       makes the report                   report        its figures
    table, plot   show it                            capacity      searches for the most calls

docs/reference/rtpload.md is for people who use it.
"""
