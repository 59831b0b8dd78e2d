"""What a run is: its numbers, what it is asked, and its identity."""
