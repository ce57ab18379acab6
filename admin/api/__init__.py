"""The admin API: routes, models, and the operations behind them."""
