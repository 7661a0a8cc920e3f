"""What turns results into what a table or figure shows. Works on estimates and curves, knows no physics."""
