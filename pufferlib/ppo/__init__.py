"""PPO. Start reading at trainer.py."""
