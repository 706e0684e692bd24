"""What is measured and how; results with machine and versions are in results/."""
