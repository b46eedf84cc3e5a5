"""The model beside what it can be checked against."""
