"""From stored records to estimates: outcomes, curves, comparisons and objectives. Pure, no drawing."""
