"""The admin API: endpoints, models, and the operations behind them."""
