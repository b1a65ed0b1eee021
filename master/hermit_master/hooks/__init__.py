"""What forges tell: signed deliveries become typed events, or are refused."""
