"""The ng protocol's server side: UDP and TCP listeners, the handler of requests, and the reply cache."""
