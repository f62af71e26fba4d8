"""Fine-tuning: rows → packed batches → losses → adapters, with checkpoints that resume exactly."""
