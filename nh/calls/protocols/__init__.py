"""What an end and the relay say to each other beside the media, ICE and DTLS, and the keys of SRTP."""
