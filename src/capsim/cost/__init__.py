"""From usage to a bill: quantities, prices, limits that stop a service, and what Railway says was used."""
