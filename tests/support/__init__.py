"""What tests share; there is no test in it."""
