"""A load generator for RTP relays: `python -m tools.rtpload`; from programs, `run_load(LoadOptions(...))`.

    cli, flags    the command line
    options       what a load can be told: codec, durations
    coordinator/  plans and runs the calls: load (the run), call_script (one call), signalling (threads that
                  send commands), workers (the worker processes)
    worker/       one worker process: media_call (the phones of a call), senders, receivers, pacing, phone,
                  secured (a phone with SRTP), browser
    messages      what coordinator and workers say to each other; ends has the words of both and of controls
    controls/     how calls are set up at a relay: Net::SIP, native, ng (sdp), or without a relay
    streams/      what became of the packets of a stream
    packet        RTP and RTCP packets that identify themselves
    libsrtp, openssl_end  SRTP and DTLS of phones, without code of nh
    report/       counters while it runs (progress), figures, tables, plots, the search for the capacity

docs/reference/rtpload.md is the manual.
"""
