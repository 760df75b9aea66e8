import DrillCore

/// All that this module adds to Muster.
package func registerObjectParts(_ registry: inout Registry) {
    registry.register(DirectoryFolderKind.self)
    registry.register(DirectoryObjects.self)
    registry.register(S3FolderKind.self)
    registry.register(S3Backup.self)
    registry.register(S3VersionsBackup.self)
    registry.register(S3MarkerObjects.self)
    registry.register(DirectoryMarkerObjects.self)
    registry.register(DirectoryCopier.self)
    registry.register(BucketCopier.self)
    registry.register(ScratchPrefixRemover.self)
}
