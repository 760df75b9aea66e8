import DrillCore

/// All that this module adds to Muster.
package func registerObjectParts(_ registry: inout Registry) {
    registry.register(DirectoryFolderKind.self)
    registry.register(DirectoryObjects.self)
}
