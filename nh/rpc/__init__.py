"""What proxies speak to: listeners, connections and their limits, for Net::SIP, native JSON and ng."""
