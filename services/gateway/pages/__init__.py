"""What people look at: the control room, a person's timeline, the API's page. No script or style from anywhere else."""
