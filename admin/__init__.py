"""The admin sub-application: the JSON API and the page for managing API users and sites."""
