module shipping

go 1.25
