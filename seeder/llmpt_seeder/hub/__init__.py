"""The Hub, asked for listings of commits."""
