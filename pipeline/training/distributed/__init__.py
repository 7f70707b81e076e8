"""Several processes and too little memory: DDP, FSDP, memory savings, OOM advice."""
