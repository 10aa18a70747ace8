"""What a model costs on this machine: parameters, MACs, file size, latency, memory."""
