// swift-tools-version: 6.1
import PackageDescription

/// Swift 6 mode comes with the tools version; a warning is an error in our own targets.
let strict: [SwiftSetting] = [
    .unsafeFlags(["-warnings-as-errors"]),
    // Tests, which are built for debugging, check at run time that no two accesses overlap; a drill of millions of rows need not.
    .unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release)),
    .enableUpcomingFeature("ExistentialAny"),
]

func part(_ name: String, _ dependencies: [Target.Dependency] = [], path: String? = nil) -> Target {
    .target(
        name: name, dependencies: dependencies + ["DrillCore", .product(name: "Logging", package: "swift-log")],
        path: path, swiftSettings: strict)
}

func tests(_ name: String, _ dependencies: [Target.Dependency] = [], resources: [Resource] = []) -> Target {
    let kit: [Target.Dependency] = name == "DrillTestKit" ? [] : ["DrillTestKit"]
    return .testTarget(
        name: name + "Tests", dependencies: [.target(name: name)] + kit + dependencies,
        resources: resources, swiftSettings: strict)
}

let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")

let package = Package(
    name: "muster",
    platforms: [.macOS(.v15)],
    products: [.executable(name: "muster", targets: ["muster"])],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/hummingbird-project/swift-mustache", from: "2.1.1"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    ],
    targets: [
        .systemLibrary(name: "CLibPQ", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
        .systemLibrary(name: "CLibCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"])]),
        .systemLibrary(name: "CLinuxFiles"),
        .systemLibrary(name: "CDataFiles"),
        .target(name: "CHost"),
        .target(
            name: "DrillCore",
            dependencies: [
                .product(name: "Yams", package: "Yams"), crypto,
            ], swiftSettings: strict),
        part("DrillHost", ["CHost", "CLibCurl"]),
        part("DrillPostgres", ["CLibPQ", "CDataFiles"]),
        part("DrillObjects", [crypto, "CLinuxFiles"]),
        part(
            "DrillReports",
            [
                .product(name: "GRDB", package: "GRDB.swift"), .product(name: "Mustache", package: "swift-mustache"),
                crypto,
            ]),
        part("DrillTestKit", [crypto]),
        tests("DrillTestKit"),
        .executableTarget(
            name: "s3-stand-in", dependencies: ["DrillTestKit"], path: "Tests/Tools/s3-stand-in",
            swiftSettings: strict),
        .executableTarget(
            name: "muster",
            dependencies: [
                "DrillCore", "DrillHost", "DrillPostgres", "DrillObjects", "DrillReports",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
            ], swiftSettings: strict),
        .executableTarget(
            name: "muster-bench",
            dependencies: [
                "DrillCore", "DrillHost", "DrillPostgres", "DrillObjects", "DrillReports",
                .product(name: "Logging", package: "swift-log"),
            ], path: "Tests/Benchmarks", exclude: ["figures"],
            swiftSettings: strict),
        .testTarget(name: "EndToEndTests", dependencies: ["muster", "DrillTestKit"], swiftSettings: strict),
        tests("DrillCore"),
        tests("DrillObjects", ["DrillHost"]),
        tests("DrillHost"),
        tests("DrillPostgres", ["DrillHost"]),
        tests(
            "DrillReports", [.product(name: "GRDB", package: "GRDB.swift")],
            resources: [.copy("Golden"), .copy("Resources")]),
    ]
)
