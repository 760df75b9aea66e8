import DrillCore
print("muster")
