"""Where Python environments run: the calling thread, threads, worker processes."""
