import Foundation
import Testing

/// A real service that an integration test talks to; Tests/services starts each and exports where it is.
package enum Service: String, Sendable, CaseIterable {
    /// A superuser's libpq connection string.
    case postgres = "MUSTER_TEST_PG"
    /// The gateway's endpoint; region and keys stand in variables beside it.
    case s3 = "MUSTER_TEST_S3_ENDPOINT"
    /// moto's control plane; the server that stands in for instances is in variables beside it.
    case rds = "MUSTER_TEST_RDS_ENDPOINT"

    /// What the environment says of it; nil where it is not there.
    package var location: String? {
        ProcessInfo.processInfo.environment[rawValue].flatMap { $0.isEmpty ? nil : $0 }
    }
}

package struct ServiceAbsent: Error, CustomStringConvertible {
    package var service: Service
    package init(service: Service) { self.service = service }
    package var description: String { "\(service) is not running: \(service.rawValue) is not set" }
}

extension Trait where Self == ConditionTrait {
    /// Skips without that service; but where `MUSTER_REQUIRE_SERVICES=1`, as in CI, it fails.
    package static func needs(_ service: Service) -> Self {
        .enabled("\(ServiceAbsent(service: service))") {
            if service.location != nil { return true }
            if ProcessInfo.processInfo.environment["MUSTER_REQUIRE_SERVICES"] == "1" {
                throw ServiceAbsent(service: service)
            }
            return false
        }
    }
}
