import ArgumentParser
import DrillCore
import DrillHost
import DrillObjects
import DrillPostgres
import DrillReports
print("muster")
