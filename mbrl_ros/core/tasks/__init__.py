"""What the car should do: batched rewards by term, bounds of the actions, and when an episode ends."""
