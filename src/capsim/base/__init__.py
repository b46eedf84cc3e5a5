"""What everything stands on and what knows nothing of servers: units, errors, files, chance, intervals, workers."""
