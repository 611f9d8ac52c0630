"""Sources of labelled images, and image sets in memory."""
