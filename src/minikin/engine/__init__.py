"""What answers: one interface, PyTorch or llama.cpp behind it."""
