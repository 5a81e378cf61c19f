# The multi-tenant application that customers approve.
#
# It is made of single parts (`azuread_application_registration` and what refers to it), not as one `azuread_application`:
# that one would demand a say over all owners, and could not name its own client id or its own service principal.

# Permissions are found by name in the directory itself. Their ids in circulation are copies of copies, some invented.
# A data source, and no resource with `use_existing`: `terraform destroy` would try to delete Microsoft's own.
data "azuread_service_principal" "defender" {
  # WindowsDefenderATP; it is missing where the tenant has no Defender for Endpoint (see the README).
  client_id = "fc780465-2017-40d4-a0c5-307022471b92"
}

data "azuread_service_principal" "graph" {
  client_id = "00000003-0000-0000-c000-000000000000"
}

locals {
  # One for each feed of Defender's API. Telemetry lies in the customer's own storage and needs none here.
  defender_roles = var.machines ? ["Alert.Read.All", "Machine.Read.All"] : ["Alert.Read.All"]
}

resource "azuread_application_registration" "app" {
  display_name     = var.display_name
  sign_in_audience = "AzureADMultipleOrgs"

  # The claim `wids` in id_tokens: by it an administrator is told from an ordinary user, whose sign-in proves nothing.
  group_membership_claims = ["DirectoryRole"]

  # Sign-ins are by code and PKCE. A token in an address bar is a token in a history.
  implicit_access_token_issuance_enabled = false
  implicit_id_token_issuance_enabled     = false

  lifecycle {
    # Every customer has approved this very application; a new one would need all of them again.
    prevent_destroy = true
  }
}

# What every customer is asked for. Consent asks for everything that is listed, so nothing is listed that is not needed,
# and above all not the right to change applications, which is our home tenant's matter alone (credential.tf).
resource "azuread_application_api_access" "defender" {
  application_id = azuread_application_registration.app.id
  api_client_id  = data.azuread_service_principal.defender.client_id
  role_ids       = [for role in local.defender_roles : data.azuread_service_principal.defender.app_role_ids[role]]
}

# With these the sign-in that follows the approval is silent. Delegated: they say who somebody is, and open nothing.
resource "azuread_application_api_access" "graph" {
  application_id = azuread_application_registration.app.id
  api_client_id  = data.azuread_service_principal.graph.client_id
  scope_ids      = [for scope in ["openid", "profile"] : data.azuread_service_principal.graph.oauth2_permission_scope_ids[scope]]
}

resource "azuread_application_redirect_uris" "app" {
  application_id = azuread_application_registration.app.id
  type           = "Web"
  redirect_uris  = ["${var.public_url}/consent/callback"]
}

resource "azuread_service_principal" "app" {
  client_id = azuread_application_registration.app.client_id
  # Open, because a provider may watch over its own tenant as well: its administrator then signs in here, and has no role.
  app_role_assignment_required = false
}
