"""What only tests and benchmarks use: fake Redis, virtual time, fault schedules, the year, long histories."""
