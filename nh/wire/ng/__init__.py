"""The codec of ng, rtpengine's control protocol: datagrams to commands, results to datagrams; no I/O."""
