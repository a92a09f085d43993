"""What the business decides; knows neither Lambda nor databases."""
