"""What steps Python environments of each kind: Gymnasium, PettingZoo, vector envs."""
