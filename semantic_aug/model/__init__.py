"""What a checkpoint is: networks, class statistics, the artifact and its files, and the Hub."""
