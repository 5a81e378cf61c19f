# The customer's own application: known in this tenant alone, and approved by being assigned exactly what it needs.

# Found by name in the directory itself. A data source, and no resource with `use_existing`: `terraform destroy` would try to
# delete Microsoft's own.
data "azuread_service_principal" "defender" {
  # WindowsDefenderATP; it is missing where the tenant has no Defender for Endpoint.
  client_id = "fc780465-2017-40d4-a0c5-307022471b92"
}

data "azuread_service_principal" "graph" {
  client_id = "00000003-0000-0000-c000-000000000000"
}

locals {
  defender_roles = toset(var.machines ? ["Alert.Read.All", "Machine.Read.All"] : ["Alert.Read.All"])
}

resource "azuread_application_registration" "own" {
  display_name     = var.display_name
  sign_in_audience = "AzureADMyOrg"

  # Nobody signs in to it.
  implicit_access_token_issuance_enabled = false
  implicit_id_token_issuance_enabled     = false
}

resource "azuread_application_api_access" "defender" {
  application_id = azuread_application_registration.own.id
  api_client_id  = data.azuread_service_principal.defender.client_id
  role_ids       = [for role in local.defender_roles : data.azuread_service_principal.defender.app_role_ids[role]]
}

resource "azuread_service_principal" "own" {
  client_id = azuread_application_registration.own.client_id
  # No person has any business with it.
  app_role_assignment_required = true
}

# This is the admin consent: an assignment for each role, and none that is not listed above.
resource "azuread_app_role_assignment" "defender" {
  for_each            = local.defender_roles
  app_role_id         = data.azuread_service_principal.defender.app_role_ids[each.key]
  principal_object_id = azuread_service_principal.own.object_id
  resource_object_id  = data.azuread_service_principal.defender.object_id
}

# Without any secret: this tenant trusts the tokens that the provider's platform issues to one role of its. Issuer and subject
# are compared letter by letter, case included.
resource "azuread_application_federated_identity_credential" "provider" {
  # checkov:skip=CKV_AZURE_249: It asks for the subjects of GitHub Actions, and these are the tokens of AWS or another platform.
  for_each       = toset(var.credential == "federated" ? ["provider"] : [])
  application_id = azuread_application_registration.own.id
  display_name   = "muster-${each.key}"
  description    = "Muster, run by the security provider"
  audiences      = [local.clouds[var.cloud].audience]
  issuer         = var.identity_issuer
  subject        = var.identity_subject
}

resource "azuread_application_certificate" "first" {
  for_each       = toset(var.credential == "certificate" ? ["first"] : [])
  application_id = azuread_application_registration.own.id
  type           = "AsymmetricX509Cert"
  encoding       = "pem"
  value          = var.certificate_pem

  lifecycle {
    # Muster may live by it: it goes by hand, once nobody does (see the README).
    prevent_destroy = true
  }
}

resource "azuread_application_password" "first" {
  for_each       = toset(var.credential == "client_secret" ? ["first"] : [])
  application_id = azuread_application_registration.own.id
  display_name   = "muster ${each.key} secret"
  end_date       = timeadd(plantimestamp(), "${var.secret_valid_days * 24}h")

  lifecycle {
    ignore_changes = [end_date]
    # As above. The next one is made in Entra and entered by the renewal link, which tries it before this one may go.
    prevent_destroy = true
  }
}

# The right to change its own credentials: the role covers all of what an application owns, and it owns itself alone (and what it
# registers, which Muster never does). An assignment in this tenant, never a listed permission.
resource "azuread_app_role_assignment" "own_credentials" {
  for_each            = toset(var.renews_itself ? ["Application.ReadWrite.OwnedBy"] : [])
  app_role_id         = data.azuread_service_principal.graph.app_role_ids[each.key]
  principal_object_id = azuread_service_principal.own.object_id
  resource_object_id  = data.azuread_service_principal.graph.object_id
}

resource "azuread_application_owner" "itself" {
  for_each        = toset(var.renews_itself ? ["itself"] : [])
  application_id  = azuread_application_registration.own.id
  owner_object_id = azuread_service_principal.own.object_id
}
