"""Many runs for one question: sweeps, optimum, findings, audit, published tables, targets."""
