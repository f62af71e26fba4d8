"""Where a run's curves can also go: TensorBoard files, and the services that teams use."""
