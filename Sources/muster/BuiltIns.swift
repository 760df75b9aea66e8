import DrillCore
import DrillObjects
import DrillPostgres

extension Registry {
    /// The parts of this build; each module registers its own.
    static var builtIns: Registry {
        var registry = Registry()
        registerCoreParts(&registry)
        registerPostgresParts(&registry)
        registerObjectParts(&registry)
        return registry
    }
}
