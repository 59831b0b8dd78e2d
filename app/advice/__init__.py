"""What an advice on a learning rate rests on, and what is said of a rate that goes wrong."""
