"""What runs beside requests: giving back the work of workers that are gone."""
